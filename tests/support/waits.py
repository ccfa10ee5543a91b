"""How long tests wait for what must come."""

# On a machine that does much else beside; a test has five minutes.
WAIT_S = 200.0
