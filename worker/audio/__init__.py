"""What is done to the sound of stems.

FFmpeg's libraries and numpy take 31 MB of a process, and most processes handle no sound most of the time. So
they are imported by the function that first needs them, in its thread: at the top of a module only by modules
that are themselves imported that way. `tests/test_imports.py` says which modules no process loads at start.
"""
