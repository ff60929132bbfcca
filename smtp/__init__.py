"""SMTP protocol library: wire format, server, client, address grammar, egress guard.

Knows nothing of Django, of users or of routes: the server asks a `Handler`, the client is told a
`Server`.
"""
