"""Acts in a cluster: the Kubernetes scheduler extender, on bare ASGI.

`wire` speaks extender/v1, `snapshot` holds what answers are made from, `levels`
turns grams into 0..10, `handlers` answers a body, `app` speaks ASGI, `server`
runs it. A handler never does I/O: it reads one immutable snapshot.
"""
