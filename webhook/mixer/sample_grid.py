"""The grid of samples that all segments of all stems share."""

RATE = 44_100
SEGMENT_S = 3
SEGMENT_SAMPLES = SEGMENT_S * RATE
# The file of all segments after a stem's end: pages know its length only roughly.
AFTER_END = "after_end.flac"
# Longer than any song.
MAX_SEGMENTS = 2 * 3600 // SEGMENT_S
