"""Who may call the servers: certificates, tokens, and both anew when their files change."""

from __future__ import annotations

__all__ = ["Trust"]


class Trust:
    """Certificates and tokens of a server."""
