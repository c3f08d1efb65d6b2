/**
 * The editor of one node: holds the state, shows the picture, writes the prompt into the node's text widget.
 *
 * The text widget is the truth that ComfyUI saves, copies and sends; the editor follows whenever it changes from outside.
 */
import { fitWindow, panWindow, toPicture, zoomWindow } from "./geometry.js";
import { listenToKeyboard } from "./keyboard.js";
import { fill } from "./locale.js";
import { advance, clear, deleteSelected, fitPrompt, objectForBox, openHistory, openState, redo, select, things, undo } from "./model.js";
import { buildPanel } from "./panel.js";
import { listenToPointer } from "./pointer.js";
import { describe } from "./status.js";
import { emptyPrompt, formatPrompt, parsePrompt } from "./text.js";
import { drawScene, veilOf } from "./view.js";

const MOST_PIXELS = 4096; // longest side of the canvas in memory, however far the graph is zoomed in
const ZOOM_STEP = 1.25;
const BRUSH_SHARE = 1 / 40; // of the picture's longer side: the brush at first
const THINNEST = 1;
const THICKEST = 1 / 4; // of the picture's longer side

export class Editor {
  /**
   * host: {readText(), writeText(text), isLinked()} for the node's text widget, {changing(change)} around each edit,
   * {canRun(), run()} for the matte of what is drawn. words: as in locale.js.
   */
  constructor(host, words) {
    this.host = host;
    this.words = words;
    this.panel = buildPanel(words);
    this.history = openHistory(openState(emptyPrompt()));
    this.text = null; // the widget's text that the history goes with
    this.drawnFor = null; // the size a prompt was drawn for, where the picture has another
    this.image = null;
    this.picture = null; // {url, width?, height?} that is shown or being loaded
    this.size = [0, 0];
    this.window = null; // null: the whole picture
    this.frames = []; // of a batch: [{url, width, height, index}, …]
    this.place = 0; // which of them is shown
    this.mattes = []; // likewise, of the last run
    this.veil = null; // the shown frame's matte, {url, canvas} or {url} while it is loaded
    this.matteShown = true;
    this.busy = false;
    this.tool = "positive";
    this.shape = "point";
    this.brush = 0; // pixels of the picture across; 0: as it is at first
    this.brushAt = null;
    this.line = null;
    this.cancelGesture = () => false;
    this.space = false;
    this.cross = null;
    this.draft = null;
    this.listening = null;
    this.note = words.noPicture;
  }

  // -- life

  start() {
    if (this.listening) return;
    this.listening = new AbortController();
    const { signal } = this.listening;
    listenToPointer(this, signal);
    listenToKeyboard(this, signal);
    this.listenToButtons(signal);
    const { canvas, root, stage } = this.panel;
    const observer = new ResizeObserver(() => {
      this.refreshPlace(); // the zoom goes with the size
      this.redraw();
    });
    observer.observe(stage);
    signal.addEventListener("abort", () => observer.disconnect());
    // A press elsewhere ends the editor's hold on the keyboard, so that Delete means the graph's node again.
    document.addEventListener("pointerdown", (e) => root.contains(e.target) || canvas.blur(), { signal, capture: true });
    // The graph's own zoom changes how many pixels the canvas has on the screen.
    window.addEventListener("wheel", () => this.redraw(), { signal, capture: true, passive: true });
    this.refresh();
  }

  stop() {
    this.listening?.abort();
    this.listening = null;
  }

  listenToButtons(signal) {
    const { buttons, text, help, brush, frames } = this.panel;
    const actions = {
      point: () => this.setShape("point"),
      brush: () => this.setShape("brush"),
      lasso: () => this.setShape("lasso"),
      run: () => this.run(),
      matte: () => this.showMatte(!this.matteShown),
      positive: () => this.setTool("positive"),
      negative: () => this.setTool("negative"),
      pan: () => this.setTool("pan"),
      undo: () => this.undo(),
      redo: () => this.redo(),
      add: () => this.advance(select(this.state, null)),
      remove: () => this.advance(deleteSelected(this.state)),
      clear: () => this.advance(clear(this.state)),
      zoomIn: () => this.zoom(ZOOM_STEP),
      zoomOut: () => this.zoom(1 / ZOOM_STEP),
      fit: () => this.fit(),
      text: () => this.openText(text.sheet.hidden),
      help: () => this.openHelp(help.hidden),
    };
    for (const [name, action] of Object.entries(actions)) buttons[name].addEventListener("click", action, { signal });
    brush.addEventListener("input", () => this.setBrush(this.brushLimits().from(Number(brush.value))), { signal });
    frames.slider.addEventListener("input", () => this.showFrame(Number(frames.slider.value)), { signal });
    text.apply.addEventListener("click", () => this.applyText(), { signal });
    text.close.addEventListener("click", () => this.openText(false), { signal });
    // Typing in the text and pressing a button are no commands to ComfyUI.
    for (const type of ["keydown", "pointerdown", "contextmenu", "wheel"]) {
      for (const part of [text.sheet, help]) part.addEventListener(type, (e) => e.stopPropagation(), { signal });
    }
    this.panel.root.addEventListener("pointerdown", (e) => e.stopPropagation(), { signal });
  }

  // -- state

  get state() {
    return this.history.present;
  }

  /** Whether edits may be made: there is a picture, and the prompt is the editor's to write. */
  get editable() {
    return this.image !== null && this.state.prompt.unread === null && !this.host.isLinked();
  }

  /** Go to the next state; a changed prompt is written into the widget. Steps of one `kind` in a row are undone at once. */
  advance(state, kind = null) {
    this.setHistory(advance(this.history, state, kind));
  }

  /** Select what comes last, which a key then moves or deletes. */
  selectLast() {
    const last = things(this.state.prompt).at(-1);
    if (last) this.advance(select(this.state, last));
  }

  undo() {
    this.setHistory(undo(this.history));
  }

  redo() {
    this.setHistory(redo(this.history));
  }

  setHistory(history) {
    const before = this.state.prompt;
    this.history = this.fitted(history);
    if (this.state.prompt !== before) this.write();
    this.refresh();
  }

  /** The history with its present state drawn for the picture that is shown. */
  fitted(history) {
    if (!this.image) return history;
    const prompt = fitPrompt(history.present.prompt, ...this.size);
    return prompt === history.present.prompt ? history : { ...history, present: { ...history.present, prompt } };
  }

  write() {
    this.drawnFor = null;
    this.text = formatPrompt(this.state.prompt);
    this.host.changing(() => this.host.writeText(this.text));
  }

  /** Take over the widget's text if it is no longer what the editor wrote (a workflow loaded, a node pasted …). */
  read() {
    const text = this.host.readText() ?? "";
    if (text === this.text) return;
    this.text = text;
    const prompt = parsePrompt(text);
    this.drawnFor = prompt.width && prompt.height ? [prompt.width, prompt.height] : null;
    this.history = this.fitted(openHistory(openState(prompt)));
    this.cross = null;
    // An older version's text is brought up to date in the workflow, so that the nodes read what is drawn here.
    if (prompt.migrated) this.write();
    this.refresh();
  }

  // -- the picture

  /** Show the pictures of a batch [{url, width?, height?, index?}, …]; none, with a note that says why there is none. */
  showFrames(frames, note = "") {
    this.frames = frames;
    this.place = Math.min(this.place, Math.max(frames.length - 1, 0));
    this.showPicture(frames[this.place] ?? null, note);
    this.showVeil();
  }

  showFrame(place) {
    this.place = place;
    this.showFrames(this.frames);
    this.refresh();
  }

  /** The mattes of the last run [{url, width, height, index}, …], one for each picture of the batch that is shown. */
  setMattes(mattes) {
    this.mattes = mattes;
    this.showVeil();
  }

  /** Load the shown frame's matte, if there is one of its size. */
  showVeil() {
    const frame = this.frames[this.place];
    const matte = frame && this.mattes.find(({ index }) => index === (frame.index ?? this.place));
    if (matte?.url === this.veil?.url) return;
    this.veil = matte ? { url: matte.url } : null;
    this.refresh();
    if (!matte) return;
    const { veil } = this;
    const image = new Image();
    image.onload = () => {
      if (this.veil !== veil) return;
      veil.size = [matte.width, matte.height];
      veil.canvas = veilOf(image);
      this.refresh();
    };
    image.src = matte.url;
  }

  /** The veil to draw: it is that of the picture shown, and wanted. */
  get shownVeil() {
    const { veil } = this;
    return this.matteShown && veil?.canvas && veil.size.join() === this.size.join() ? veil.canvas : null;
  }

  showMatte(shown) {
    this.matteShown = shown;
    this.refresh();
  }

  /** Have the matte made of what is drawn. */
  async run() {
    if (this.busy || !this.host.canRun()) return;
    this.setBusy(true);
    this.matteShown = true;
    if (!(await this.host.run())) this.setBusy(false);
  }

  setBusy(busy) {
    this.busy = busy;
    this.panel.root.classList.toggle("mae-busy", busy);
    this.refresh();
  }

  /** Show the picture {url, width?, height?}, or null with a note that says why there is none. */
  showPicture(picture, note = "") {
    if (picture?.url === this.picture?.url && (picture || note === this.note)) return;
    this.picture = picture;
    if (!picture) {
      this.setImage(null, note);
      return;
    }
    if (!this.image) this.note = this.words.loading;
    const image = new Image();
    image.onload = () => this.picture === picture && this.setImage(image);
    image.onerror = () => this.picture === picture && this.setImage(null, fill(this.words.broken, { url: picture.url }));
    image.src = picture.url;
    this.refresh();
  }

  setImage(image, note = "") {
    this.image = image;
    this.note = note;
    if (image) {
      const size = [this.picture.width || image.naturalWidth, this.picture.height || image.naturalHeight];
      if (size[0] !== this.size[0] || size[1] !== this.size[1]) {
        this.window = null;
        this.brush = 0;
      }
      this.size = size;
      if (!this.brush) this.brush = Math.max(THINNEST, Math.round(Math.max(...size) * BRUSH_SHARE));
      this.history = this.fitted(this.history);
    }
    this.refresh();
  }

  // -- the view

  /** Where an event is, in CSS pixels of the canvas, whatever the graph's zoom. */
  screenPoint({ clientX, clientY }) {
    const { canvas } = this.panel;
    const rect = canvas.getBoundingClientRect();
    const scale = rect.width ? canvas.clientWidth / rect.width : 1;
    return [(clientX - rect.left) * scale, (clientY - rect.top) * scale];
  }

  picturePoint(at) {
    return toPicture(this.currentWindow(), at);
  }

  get scale() {
    return this.currentWindow().scale;
  }

  currentWindow() {
    const { clientWidth, clientHeight } = this.panel.canvas;
    return this.window ?? fitWindow(...this.size, clientWidth, clientHeight);
  }

  /** Zoom by a factor around a point of the canvas, by default its middle. */
  zoom(factor, at = null) {
    if (!this.image) return;
    const { clientWidth: w, clientHeight: h } = this.panel.canvas;
    const [x, y] = at ?? [w / 2, h / 2];
    const next = zoomWindow(this.currentWindow(), factor, x, y, ...this.size, w, h);
    this.window = next.scale === fitWindow(...this.size, w, h).scale ? null : next;
    this.refresh();
  }

  pan(dx, dy) {
    if (!this.window) return;
    const { clientWidth: w, clientHeight: h } = this.panel.canvas;
    this.window = panWindow(this.window, dx, dy, ...this.size, w, h);
    this.refresh();
  }

  fit() {
    this.window = null;
    this.refresh();
  }

  pans() {
    return this.space || this.tool === "pan";
  }

  setTool(tool) {
    this.tool = tool;
    this.refresh();
  }

  setShape(shape) {
    this.shape = shape;
    if (this.tool === "pan") this.tool = "positive";
    this.refresh();
  }

  /** The brush's width in pixels of the picture. */
  setBrush(width) {
    this.brush = Math.min(Math.max(width, THINNEST), this.brushLimits().most);
    this.refresh();
  }

  /** The thickest brush, and its widths on a slider 0..1, whose steps grow with them. */
  brushLimits() {
    const most = Math.max(...this.size, 8) * THICKEST;
    return { most, from: (share) => most ** share, to: (width) => Math.log(width) / Math.log(most) };
  }

  /** Where the brush is, null for nowhere. */
  showBrush(at, label = 1) {
    const shown = at && this.shape === "brush" && this.editable && !this.pans();
    if (!shown && !this.brushAt) return;
    this.brushAt = shown ? { at, label, width: this.brush } : null;
    this.redraw();
  }

  /** The stroke that is being drawn, or null. */
  setLine(line) {
    this.line = line;
    this.redraw();
  }

  setSpace(space) {
    this.space = space;
    this.panel.canvas.style.cursor = this.pans() ? "grab" : "crosshair";
  }

  setCross(cross) {
    this.cross = cross;
    this.refresh();
  }

  /** The box that is being drawn, or null. */
  setDraft(box) {
    this.draft = box;
    this.redraw();
  }

  showPlace(at) {
    const [x, y] = at && this.image ? this.picturePoint(at).map(Math.floor) : [-1, -1];
    this.pointer = x >= 0 && y >= 0 && x < this.size[0] && y < this.size[1] ? `${x}, ${y} · ` : "";
    this.refreshPlace();
  }

  // -- the sheets

  openHelp(open) {
    this.panel.help.hidden = !open;
    if (open) this.openText(false);
    this.refresh();
  }

  openText(open) {
    const { text } = this.panel;
    text.sheet.hidden = !open;
    text.note.textContent = "";
    if (open) {
      this.panel.help.hidden = true;
      text.area.value = this.host.readText() ?? "";
      text.area.focus();
    }
    this.refresh();
  }

  applyText() {
    const { text } = this.panel;
    const prompt = parsePrompt(text.area.value);
    if (prompt.unread !== null) {
      text.note.textContent = this.words.unreadTyped;
      return;
    }
    this.advance(openState(prompt));
    this.openText(false);
  }

  // -- showing it all

  /** Bring message, status, buttons and canvas up to date. */
  refresh() {
    const { buttons, status, text, help, brush } = this.panel;
    const { past, future } = this.history;
    const { state, editable } = this;
    this.refreshMessage();
    const line = describe(this, this.words);
    if (status.textContent !== line) status.textContent = line;
    status.title = line;
    for (const name of ["positive", "negative", "pan"]) buttons[name].setAttribute("aria-checked", String(this.tool === name));
    for (const name of ["point", "brush", "lasso"]) buttons[name].setAttribute("aria-checked", String(this.shape === name));
    brush.hidden = this.shape !== "brush";
    brush.value = String(this.brushLimits().to(this.brush || THINNEST));
    buttons.run.disabled = !this.image || this.busy || !this.host.canRun();
    buttons.matte.disabled = !this.veil;
    buttons.matte.setAttribute("aria-pressed", String(this.matteShown && this.veil !== null));
    this.refreshFrames();
    buttons.text.setAttribute("aria-pressed", String(!text.sheet.hidden));
    buttons.help.setAttribute("aria-pressed", String(!help.hidden));
    text.apply.disabled = this.host.isLinked();
    buttons.undo.disabled = !past.length || this.host.isLinked();
    buttons.redo.disabled = !future.length || this.host.isLinked();
    buttons.add.disabled = !editable || state.active === null;
    buttons.remove.disabled = !editable || (state.active === null && state.selected === null);
    buttons.clear.disabled = !state.prompt.objects.length || this.host.isLinked();
    for (const name of ["zoomIn", "zoomOut", "fit"]) buttons[name].disabled = !this.image;
    this.refreshPlace();
    this.redraw();
  }

  refreshMessage() {
    const { message } = this.panel;
    const { words } = this;
    const unread = this.state.prompt.unread !== null;
    const parts = this.host.isLinked() ? [words.linked] : unread ? [words.unread] : this.image ? [] : [this.note];
    const wanted = `${unread} ${parts.join()} ${Boolean(this.image)}`;
    if (message.dataset.shows === wanted) return;
    message.dataset.shows = wanted;
    message.hidden = !parts.length;
    message.classList.toggle("mae-over", this.image !== null);
    message.replaceChildren(...parts);
    if (!unread || this.host.isLinked()) return;
    const anew = Object.assign(document.createElement("button"), { type: "button", textContent: words.startAnew });
    anew.addEventListener("click", () => this.advance(clear(this.state)));
    message.append(anew);
  }

  refreshFrames() {
    const { row, slider, number } = this.panel.frames;
    row.hidden = this.frames.length < 2;
    if (row.hidden) return;
    slider.max = String(this.frames.length - 1);
    slider.value = String(this.place);
    number.textContent = String((this.frames[this.place].index ?? this.place) + 1);
  }

  refreshPlace() {
    const [width, height] = this.size;
    const zoom = `${Math.round(this.image ? this.scale * 100 : 0)} %`;
    this.panel.place.textContent = this.image ? `${this.pointer ?? ""}${width} × ${height} · ${zoom}` : "";
  }

  /** Draw at the next frame. */
  redraw() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.draw();
    });
  }

  draw() {
    const { canvas } = this.panel;
    const { clientWidth: w, clientHeight: h } = canvas;
    if (!w || !h) return;
    const graphZoom = Math.max(canvas.getBoundingClientRect().width / w, 1);
    const scale = Math.min((window.devicePixelRatio || 1) * graphZoom, MOST_PIXELS / Math.max(w, h));
    const pixels = [Math.round(w * scale), Math.round(h * scale)];
    if (canvas.width !== pixels[0] || canvas.height !== pixels[1]) [canvas.width, canvas.height] = pixels;
    const ctx = canvas.getContext("2d");
    ctx.setTransform(pixels[0] / w, 0, 0, pixels[1] / h, 0, 0);
    const [width, height] = this.size;
    const { state, image } = this;
    drawScene(ctx, {
      w, h, image, width, height, state,
      window: image ? this.currentWindow() : null,
      veil: this.shownVeil,
      draft: this.draft && { box: this.draft, object: objectForBox(state, this.draft) },
      line: this.line,
      cross: this.cross,
      brush: this.brushAt,
    });
  }
}
