export default async function stop() {
  await globalThis.localRun.stop();
}
