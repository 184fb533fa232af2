"""An estimate as Markdown, for a pull request's comment and for the docs."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from trackstack.core import prices
from trackstack.core.cost import Estimate, Line
from trackstack.core.prices import price_of
from trackstack.core.usage import Usage


def amount(usd: float) -> str:
    """USD to the cent; what is less than half a cent shows as such."""
    return f"{usd:,.2f}" if usd >= 0.005 or not usd else "<0.01"  # noqa: PLR2004 - half a cent


def difference(usd: float) -> str:
    """USD with its sign."""
    return f"{usd:+,.2f}"


def unit_price(line: Line) -> str:
    """What a unit costs, in as many digits as the price has."""
    return f"{line.usd_each:.6f}".rstrip("0").rstrip(".")


def caveats(estimate: Estimate) -> list[str]:
    """What a reader must know to use the figures, a sentence each."""
    told = [
        (
            f"List prices of {prices.REGION} on demand, read {prices.READ}, {prices.HOURS} hours a"
            " month, without tax, credits, discounts and an account's free tiers."
        )
    ]
    if estimate.region != prices.REGION:
        told.append(
            f"The stack runs in {estimate.region}, whose prices are not at hand: the figures are"
            f" {prices.REGION}'s."
        )
    doubtful = sorted({line.what for line in estimate.lines if not price_of(line.price).confirmed})
    if doubtful:
        told.append(f"No source at hand confirms the price of: {', '.join(doubtful)}.")
    told += [
        f"Not priced: {', '.join(aside.names)} ({aside.type}): {aside.reason}"
        for aside in (*estimate.unpriced, *estimate.unknown)
    ]
    return told


def assumptions(usage: Usage) -> str:
    """The use that was assumed, in a sentence."""
    return (
        f"{usage.runs:,} runs of {usage.artifact_mb:g} MB, {usage.kept_gb:g} GB of artifacts kept,"
        f" {usage.requests:,} requests, {usage.data_out_gb:g} GB out to the internet,"
        f" {usage.nat_gb:g} GB through NAT, {usage.log_gb:g} GB of logs,"
        f" {usage.image_gb:g} GB of images."
    )


def table(estimate: Estimate, *, sources: bool = False) -> str:
    """Every line and the total."""
    head = ["", "line", "quantity", "unit", "USD a unit", "USD a month"]
    rule = ["---", "---", "---:", "---", "---:", "---:"]
    if sources:
        head += ["source", "note"]
        rule += ["---", "---"]
    rows = [head, rule]
    before = ""
    for line in estimate.lines:
        price = price_of(line.price)
        rows.append(
            [
                line.group if line.group != before else "",
                line.label + ("" if line.fixed else " *"),
                f"{line.quantity:,.6g}" if line.quantity < 1 else f"{line.quantity:,.2f}",
                price.unit,
                unit_price(line),
                amount(line.usd),
                *([f"{price.page}, {price.read}", line.note or price.note] if sources else []),
            ]
        )
        before = line.group
    rows.append(
        [
            "**Total**",
            "",
            "",
            "",
            "",
            f"**{amount(estimate.total)}**",
            *(["", ""] if sources else []),
        ]
    )
    return "\n".join(f"| {' | '.join(row)} |".replace("|  |", "| |") for row in rows)


def price_table() -> str:
    """Every price with unit, page and month."""
    rows = [
        "| price | USD | unit | page of AWS | read | note |",
        "| --- | ---: | --- | --- | --- | --- |",
    ]
    keys = [*prices.PRICES, *(f"rds.class:{name}" for name in prices.RDS_HOURLY)]
    keys += [f"rds.class:{name}:multi_az" for name in prices.RDS_HOURLY]
    for key in keys:
        price = price_of(key)
        usd = f"{price.usd:.6f}".rstrip("0").rstrip(".")
        note = price.note if price.confirmed else f"**No source at hand.** {price.note}".strip()
        rows.append(f"| `{key}` | {usd} | {price.unit} | {price.page} | {price.read} | {note} |")
    return "\n".join(rows)


def offers_table(rows: Iterable[Mapping[str, Any]]) -> str:
    """The stack beside managed offers."""
    lines = ["| offer | USD a month | assumes | source |", "| --- | ---: | --- | --- |"]
    for row in rows:
        usd = "not known" if row["usd"] is None else amount(row["usd"])
        lines.append(
            f"| {row['name']} | {usd} | {row['assumes']} | {row['source']}, {row['read']} |"
        )
    return "\n".join(lines)


def markdown(
    estimate: Estimate,
    *,
    variant: Estimate | None = None,
    changes: Iterable[str] = (),
    offers: Iterable[Mapping[str, Any]] = (),
    sources: bool = False,
) -> str:
    """The whole report: total, lines, what-if, offers, caveats."""
    parts = [f"**{estimate.stack}**: {estimate.one_line}.", table(estimate, sources=sources)]
    if variant is not None:
        told = ", ".join(f"`{change}`" for change in changes)
        parts += [f"With {told}:", difference_table(estimate, variant)]
    offers = list(offers)
    if offers:
        parts.append(offers_table(offers))
    parts.append(f"\\* follows from use: {assumptions(estimate.usage)}")
    parts.append("\n".join(f"- {told}" for told in caveats(estimate)))
    return "\n\n".join(parts)


def changed_lines(base: Estimate, variant: Estimate) -> list[tuple[str, str, float, float]]:
    """Group, line, USD before and after, of every line that differs."""
    before, after = _sums(base), _sums(variant)
    keys = [*before, *(key for key in after if key not in before)]
    return [
        (group, what, before.get((group, what), 0), after.get((group, what), 0))
        for group, what in keys
        if before.get((group, what), 0) != after.get((group, what), 0)
    ]


def _sums(estimate: Estimate) -> dict[tuple[str, str], float]:
    sums: dict[tuple[str, str], float] = defaultdict(float)
    for line in estimate.lines:
        sums[line.group, line.what] += line.usd
    return dict(sums)


def difference_table(base: Estimate, variant: Estimate) -> str:
    """What a variant changes, line by line."""
    rows = ["| | line | base | variant | difference |", "| --- | --- | ---: | ---: | ---: |"]
    rows += [
        f"| {group} | {what} | {amount(old)} | {amount(new)} | {difference(new - old)} |"
        for group, what, old, new in changed_lines(base, variant)
    ]
    total = variant.total - base.total
    rows.append(
        f"| **Total** | | {amount(base.total)} | {amount(variant.total)} |"
        f" **{difference(total)}** |"
    )
    return "\n".join(rows)


def to_json(
    estimate: Estimate,
    *,
    variant: Estimate | None = None,
    changes: Iterable[str] = (),
    offers: Iterable[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """The whole report for scripts; ``whatIf`` and ``compare`` only where they were asked for."""
    report: dict[str, Any] = {**estimate.to_json(), "caveats": caveats(estimate)}
    if variant is not None:
        report["whatIf"] = {
            "changes": list(changes),
            "difference": round(variant.total - estimate.total, 4),
            "lines": [
                {"group": group, "what": what, "base": round(old, 4), "variant": round(new, 4)}
                for group, what, old, new in changed_lines(estimate, variant)
            ],
            "variant": variant.to_json(),
        }
    offers = list(offers)
    if offers:
        report["compare"] = offers
    return report
