"""Who is asking: the server's side of the access modes ``basic`` and ``oidc``.

``users`` keeps the tables, ``configuration`` writes what MLflow's own auth app reads, ``gate``
stands before every route, ``oidc`` checks the balancer's word, and ``app`` puts them together.
"""
