"""Runs `stemdrop` with Telegram's limits out of the way: they would hold back what is measured."""

from stemdrop.storage import flood_limiter

flood_limiter.OVERALL = flood_limiter.PRIVATE = (1_000_000, 1_000_000.0)

if __name__ == "__main__":
    from stemdrop.__main__ import main

    main()
