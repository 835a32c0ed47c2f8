"""The REST API: Cisco Flame's paths, verbs and bodies over `flame.control`; nothing is decided here."""
