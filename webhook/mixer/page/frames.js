/** Showing what plays: once a frame while it plays, and not at all while it does not. */

/**
 * Call a function whenever the transport's state changes, and in each frame while it plays.
 * @param {import("./transport.js").Transport} transport
 * @param {() => void} show
 */
export function followTransport(transport, show) {
  let isFollowing = false;
  function frame() {
    show();
    isFollowing = transport.isPlaying;
    if (isFollowing) requestAnimationFrame(frame);
  }
  transport.onchange = () => {
    if (!isFollowing) frame();
  };
  frame();
}
