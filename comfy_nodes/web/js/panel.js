/** The editor's elements: tool bar, canvas, message, status line, and the sheets for help and text. No behaviour. */

const ICONS = {
  positive: "M12 5v14M5 12h14",
  negative: "M5 12h14",
  pan: "M12 3v18M3 12h18M9 6l3-3 3 3M9 18l3 3 3-3M6 9l-3 3 3 3M18 9l3 3-3 3",
  point: "M5 3l6.5 16 2.3-6.7L20.5 10z",
  brush: "M20 4c-3 1-9 6-11 10l2 2c4-2 8-8 9-12M8.5 15c-3 0-3 3-5.5 5 4 1 8 0 8-3.5",
  lasso: "M12 4c5 0 8.5 2.5 8.5 5.5S17 15 12 15s-8.5-2.5-8.5-5.5S7 4 12 4M7 14c-2 2 0 4 2 3.5s3 2 1 4",
  run: "M7 4l13 8-13 8z",
  matte: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16M12 4v16M14.5 5v14M17 6.5v11",
  undo: "M9 7L4 12l5 5M4 12h10a6 6 0 0 1 6 6v1",
  redo: "M15 7l5 5-5 5M20 12H10a6 6 0 0 0-6 6v1",
  add: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5M12 8v8M8 12h8",
  remove: "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v5M14 11v5",
  clear: "M20 12a8 8 0 1 1-2.5-5.8M20 3v5h-5",
  zoomOut: "M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13M15.5 15.5L21 21M7.5 10.5h6",
  zoomIn: "M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13M15.5 15.5L21 21M7.5 10.5h6M10.5 7.5v6",
  fit: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5",
  text: "M9 4c-4 0-1 7-5 8 4 1 1 8 5 8M15 4c4 0 1 7 5 8-4 1-1 8-5 8",
  help: "M9 9a3 3 0 1 1 4.2 2.8c-.9.4-1.2 1-1.2 2.2M12 17.5v.5",
};

const GROUPS = [["undo", "redo"], ["add", "remove", "clear"], ["zoomOut", "fit", "zoomIn"], ["run", "matte"], ["text", "help"]];

let count = 0;

/** All elements by name: {root, canvas, stage, message, status, place, buttons, brush, frames, text, help}. */
export function buildPanel(words) {
  count += 1;
  const buttons = {};
  const button = (name) => (buttons[name] = iconButton(name, words[name]));
  const modes = element("div", { className: "mae-group", role: "radiogroup", ariaLabel: words.clicks },
    ["positive", "negative", "pan"].map((name) => {
      button(name).setAttribute("role", "radio");
      return buttons[name];
    }));
  const brush = element("input", { className: "mae-range", type: "range", min: 0, max: 1, step: 0.01, hidden: true,
    title: words.brushSize, ariaLabel: words.brushSize });
  const shapes = element("div", { className: "mae-group", role: "radiogroup", ariaLabel: words.drags },
    [...["point", "brush", "lasso"].map((name) => {
      button(name).setAttribute("role", "radio");
      return buttons[name];
    }), brush]);
  const bar = element("div", { className: "mae-bar", role: "toolbar" },
    [modes, shapes, ...GROUPS.map((names) => element("div", { className: "mae-group" }, names.map(button)))]);

  const keys = element("div", { className: "mae-hidden", id: `mae-keys-${count}`, textContent: words.keys });
  const canvas = element("canvas", { className: "mae-canvas", tabIndex: 0, role: "application", ariaLabel: words.canvas });
  canvas.setAttribute("aria-describedby", keys.id);
  const message = element("div", { className: "mae-message", hidden: true, ariaLive: "polite" });
  const text = buildText(words);
  const help = buildHelp(words);
  const stage = element("div", { className: "mae-stage" }, [canvas, message, text.sheet, help]);

  const status = element("div", { className: "mae-status", role: "status", ariaLive: "polite" });
  const place = element("div", { className: "mae-place", ariaHidden: "true" });
  const foot = element("div", { className: "mae-foot" }, [status, place]);
  const slider = element("input", { className: "mae-range", type: "range", min: 0, step: 1, ariaLabel: words.frame });
  const number = element("output", { className: "mae-number" });
  const row = element("div", { className: "mae-foot", hidden: true }, [slider, number]);
  const frames = { row, slider, number };
  const root = element("div", { className: "mae" }, [bar, stage, row, foot, keys]);
  root.dataset.captureWheel = "true"; // Nodes 2.0 leaves the wheel to what has the focus in here
  return { root, canvas, stage, message, status, place, buttons, brush, frames, text, help };
}

function buildText(words) {
  const area = element("textarea", { className: "mae-text", spellcheck: false, ariaLabel: words.text });
  const note = element("div", { className: "mae-note", role: "alert" });
  const apply = element("button", { type: "button", textContent: words.apply });
  const close = element("button", { type: "button", textContent: words.close });
  const row = element("div", { className: "mae-row" }, [note, close, apply]);
  const sheet = element("div", { className: "mae-sheet", hidden: true }, [area, row]);
  return { sheet, area, note, apply, close };
}

function buildHelp(words) {
  const lines = words.helpLines.flatMap(([what, does]) => [
    element("dt", { textContent: what }), element("dd", { textContent: does }),
  ]);
  return element("div", { className: "mae-sheet", hidden: true }, [element("dl", {}, lines)]);
}

function iconButton(name, label) {
  const button = element("button", { type: "button", className: "mae-button", title: label, ariaLabel: label });
  button.dataset.tool = name;
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  button.append(svg);
  return button;
}

function element(tag, { role, ...properties }, children = []) {
  const made = Object.assign(document.createElement(tag), properties);
  if (role) made.setAttribute("role", role);
  made.append(...children);
  return made;
}

/** The style sheet, once a page. */
export function loadStyle() {
  const href = new URL("./editor.css", import.meta.url).href;
  if (document.querySelector(`link[href="${href}"]`)) return;
  document.head.append(Object.assign(document.createElement("link"), { rel: "stylesheet", href }));
}
