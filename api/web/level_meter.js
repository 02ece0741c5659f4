// The level of a stream, in dBFS, on a <meter>.

const FLOOR_DB = -60;

export class LevelMeter {
  #stop = () => {};

  constructor(meter) {
    this.meter = meter;
  }

  watch(stream, context) {
    this.#stop();
    const source = context.createMediaStreamSource(stream);
    const analyser = new AnalyserNode(context, { fftSize: 1024 });
    source.connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    const timer = setInterval(() => {
      analyser.getFloatTimeDomainData(samples);
      const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
      this.meter.value = Math.max(FLOOR_DB, 10 * Math.log10(power + 1e-9));
    }, 100);
    this.#stop = () => {
      clearInterval(timer);
      source.disconnect();
      this.meter.value = FLOOR_DB;
    };
  }

  stop() {
    this.#stop();
    this.#stop = () => {};
  }
}
