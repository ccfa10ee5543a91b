"""The entry point of `stemdrop` and `python -m stemdrop`. This module imports nothing slow."""

from typing import NoReturn

from stemdrop import interrupts


def main() -> NoReturn:
    interrupts.run_program("stemdrop.cli")


if __name__ == "__main__":
    main()
