"""Everything around the compiled core: Faust worker, policy, replay, demo and command line.

Imported by the command ``gatejoin`` and by ``faust -A stream.app worker``. It imports nothing by
itself, so that a small command (``gatejoin --version``) does not pay for Faust.
"""
