"""MLflow's filter strings, as ``search_runs`` and its like take them."""


def quoted(text: str) -> str:
    """A text as a literal: MLflow's filters know two quotes and no way to escape one of them.

    Raises:
        ValueError: it has both quotes in it, so no filter can name it.
    """
    if "'" not in text:
        return f"'{text}'"
    if '"' in text:
        raise ValueError(f"No filter of MLflow's can name {text}.")
    return f'"{text}"'
