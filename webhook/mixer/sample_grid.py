"""The grid of samples that all segments of all stems share."""

SEGMENT_RATE = 44_100
SEGMENT_S = 3
SEGMENT_SAMPLES = SEGMENT_S * SEGMENT_RATE
# The file for all segments after a stem's end, since pages know the length of a stem only roughly.
AFTER_END = "after_end.flac"
# Two hours, which is longer than any song.
MAX_SEGMENTS = 2 * 3600 // SEGMENT_S
