"""The grid of samples that all segments of all stems share."""

RATE = 44_100
SEGMENT_S = 5
SEGMENT_SAMPLES = SEGMENT_S * RATE
# Longer than any song.
MAX_SEGMENTS = 2 * 3600 // SEGMENT_S
