"""A local socket through which the command line looks at a running engine.

`place` says where sockets lie and who may open them, `server` answers on one, `answers` says what,
`client` asks. Lines of JSON both ways: `{"do": "status"}`, and `{"ok": true, "result": ...}` or
`{"ok": false, "error": "..."}`. Nothing that is asked changes anything in the engine.
"""
