"""The relay: MLflow's REST API on loopback, which writes down what it is told and ships it later.

A 200 means that the write is on this machine's disk. Who trains waits for nobody: the server may
be away, slow or wrong. `journal` keeps, `front` answers, `shipping` carries to the server,
`process` runs the three, `supervisor` holds the socket and brings a killed relay back.
"""
