"""What an engine shows of itself: a snapshot of its figures, and bridges to where people look.

`snapshot` takes the figures, `instruments` names them; `prometheus` and `otel` hand them on, each
an extra of its own, imported only where it is used.
"""
