"""What the container runs: ``python -m trackstack.server migrate | serve | healthy``.

It reads nothing but its environment (``trackstack.core.server_environment``) and needs nothing but
the libraries of ``requirements.txt`` beside it; its image is described by ``Dockerfile``.
"""
