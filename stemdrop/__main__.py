"""The program `stemdrop`, and `python -m stemdrop`. It imports nothing that takes long."""

from typing import NoReturn

from stemdrop import interrupts


def main() -> NoReturn:
    interrupts.run_program("stemdrop.cli")


if __name__ == "__main__":
    main()
