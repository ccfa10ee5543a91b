"""`python -m sandbox.play`: the demo, which Ctrl-C ends at any time."""

from stemdrop.interrupts import run_program

run_program("sandbox.play.demo")
