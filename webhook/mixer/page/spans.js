/** Which stretch of a song is played next. Positions are in frames of the audio context. */

/** @typedef {{ start: number, end: number }} Loop */
/** @typedef {{ frames: number, pieceFrames: number, loop: Loop | undefined }} Course  pieces may be endless: one is the song */
/** @typedef {{ piece: number, from: number, to: number, next: number }} Span  `next` is played after `to` */

/**
 * Return the stretch from a frame to the end of its piece, of the loop or of the song; undefined at the song's end.
 * @param {number} frame
 * @param {Course} course
 * @returns {Span | undefined}
 */
export function spanAt(frame, { frames, pieceFrames, loop }) {
  if (frame >= frames) return undefined;
  const piece = Math.floor(frame / pieceFrames);
  const isInLoop = loop !== undefined && frame < loop.end;
  const end = isInLoop ? Math.min(loop.end, frames) : frames; // the song may prove shorter than the loop
  const to = Math.min((piece + 1) * pieceFrames, end);
  return { piece, from: frame, to, next: isInLoop && to === end ? loop.start : to };
}

/**
 * Return the next pieces in the order in which they are played.
 * @param {number} frame
 * @param {Course} course
 * @param {number} count
 */
export function piecesFrom(frame, course, count) {
  /** @type {Set<number>} */
  const pieces = new Set();
  let span = spanAt(frame, course);
  for (let steps = 0; span && steps < count; steps++) {
    pieces.add(span.piece);
    span = spanAt(span.next, course);
  }
  return pieces;
}

/**
 * Return the beat that is nearest to a time, in seconds; the time itself where the beats are not known.
 * @param {number} seconds
 * @param {{ bpm: number | null, beat_s: number | null } | null} facts
 */
export function nearestBeat(seconds, facts) {
  if (!facts?.bpm || facts.beat_s === null) return seconds;
  const beatS = 60 / facts.bpm;
  const firstS = facts.beat_s;
  return Math.max(0, firstS + Math.round((seconds - firstS) / beatS) * beatS);
}
