"""The compiled core: bytes and arrays in, bytes and arrays out, the GIL released.

Called by stream/. It knows no Kafka client, no asyncio, no metrics and no settings.
README.md beside this file shows each memory layout.
"""
