"""`python -m stemdrop`: the same as the program `stemdrop`."""

from stemdrop.cli import main

main()
