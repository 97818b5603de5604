// Browsers refuse workers to a page that was opened from a folder. The search then runs in a frame without a face, which
// takes the worker's messages and answers them.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.documentElement.append(frame);
      const inside = frame.contentWindow;
      const script = inside.document.createElement("script");
      const tell = (target, data) => target.dispatchEvent(new MessageEvent("message", { data }));
      inside.postMessage = (data) => tell(this, data);
      this.ready = new Promise((loaded) => { script.onload = loaded; });
      this.postMessage = (data) => this.ready.then(() => tell(inside, data));
      script.src = url;
      inside.document.body.append(script);
    }
  };
}
