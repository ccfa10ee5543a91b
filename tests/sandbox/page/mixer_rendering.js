/**
 * Renders what the mixer's player makes of a song, faster than it plays: `actions` are calls of the player or of its
 * transport, each with the second before which it is made (quarters, from 0).
 */
async ({ seconds, actions }) => {
  const { Player } = await import("/mixer/static/player.js");
  const { Server } = await import("/mixer/static/server.js");
  const server = new Server("signed", "1", () => {});
  const song = await server.open();
  const context = new OfflineAudioContext(1, seconds * 44100, 44100);
  const errors = [];
  const fetched = [];
  let busy = 0;
  const counted = (call) => async (...values) => {
    busy += 1;
    return call(...values).finally(() => (busy -= 1));
  };
  context.decodeAudioData = counted(context.decodeAudioData.bind(context));
  const fetchSegment = counted((stem, segment, signal) => {
    fetched.push(`${stem}/${segment}`);
    return server.segment(stem, segment, signal);
  });
  const player = new Player(song, fetchSegment, (error) => errors.push(String(error)), context);
  const { transport } = player;
  const rest = () => new Promise((resolve) => setTimeout(resolve, 1));
  async function step(now) {
    for (const [at, name, ...values] of actions) {
      if (at === now) await (name in player ? player[name](...values) : transport[name](...values));
    }
    transport.tick();
    do await rest();
    while (busy);
    transport.tick();
  }
  for (let now = 0.25; now < seconds; now += 0.25) void context.suspend(now).then(() => step(now)).then(() => context.resume());
  await step(0);
  transport.play();
  await step(-1);
  const began = 2205; // the transport starts so many frames later
  const samples = (await context.startRendering()).getChannelData(0).subarray(began);
  const heard = [];
  let crossings = 0;
  for (let at = 1; at < samples.length; at++) {
    if (Math.abs(samples[at]) > 1e-4 && heard.length < 1000) heard.push([at, samples[at]]);
    if (samples[at - 1] < 0 && samples[at] >= 0) crossings += 1;
  }
  const end = samples.findLastIndex((sample) => Math.abs(sample) > 1e-3);
  return { errors, fetched, heard, crossings, end, state: transport.state };
}
