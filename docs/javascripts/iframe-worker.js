/* The search of the site runs in a Worker, which browsers refuse to pages of a file system. There, and only there, this
   runs the script of the worker in a hidden frame. The theme loads a script from another host instead, unless one with
   "iframe-worker" in its name is configured. */
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.waiting = [];
      const frame = document.createElement("iframe");
      frame.hidden = true;
      frame.srcdoc = "<!doctype html><script src=\"" + url + "\"></script>";
      frame.addEventListener("load", () => {
        this.inside = frame.contentWindow;
        this.inside.postMessage = data => this.dispatchEvent(new MessageEvent("message", { data }));
        this.waiting.splice(0).forEach(data => this.postMessage(data));
      });
      document.body.append(frame);
    }

    postMessage(data) {
      if (this.inside) this.inside.dispatchEvent(new MessageEvent("message", { data }));
      else this.waiting.push(data);
    }
  };
}
