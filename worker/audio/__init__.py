"""Measures, mixes, encodes and tags the sound of stems.

FFmpeg's libraries and numpy take 31 MB of a process, and most processes handle no sound most of the time. So
the function that first needs these libraries imports them, in its thread. Only modules that are themselves
imported in this way import them at the top. `tests/test_imports.py` lists the modules that no process loads
at start.
"""
