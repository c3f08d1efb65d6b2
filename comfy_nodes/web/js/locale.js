/** The editor's words, in English and German. */

const en = {
  canvas: "Picture with the prompt",
  keys:
    "Tab and Shift+Tab go from thing to thing, arrow keys move it (with Shift by 10 pixels, with Alt the lower right " +
    "corner of a box). Without a selection the arrow keys move a cross; P puts a point on the object there, N one that " +
    "is not on it, B a box. Delete removes, Escape begins a new object, Ctrl+Z undoes, plus, minus and 0 zoom.",
  clicks: "What a click does",
  positive: "Click: on the object",
  negative: "Click: not on the object (also Shift or right click)",
  pan: "Drag the view (also the middle button, or Space)",
  undo: "Undo (Ctrl+Z)",
  redo: "Redo (Ctrl+Shift+Z)",
  add: "New object: the next click begins it (Escape)",
  remove: "Delete what is selected, else the active object (Delete)",
  clear: "Reset: remove everything",
  zoomIn: "Zoom in (wheel, +)",
  zoomOut: "Zoom out (wheel, −)",
  fit: "Whole picture (0)",
  text: "The prompt as text",
  help: "How to use the editor",
  apply: "Apply",
  close: "Close",
  startAnew: "Start anew",
  noPicture: "Connect a picture, for instance from Load Image.",
  notYet: "Run the graph once to see the picture here.",
  loading: "The picture is being loaded …",
  broken: "The picture cannot be loaded: {url}",
  unread: "This text is no prompt that this version can read. It stays as it is until you start anew.",
  unreadTyped: "This text is no prompt that this version can read; nothing was changed.",
  linked: "The prompt comes through a link; unlink it to draw here.",
  scaled: "Drawn on {from}, scaled to {to}.",
  begin: "Click the object, or drag a box around it.",
  next: "The next click begins object {number}.",
  objectOf: "Object {number} of {count}",
  counts: "{positive} on, {negative} off",
  withBox: "box {width} × {height}",
  onlyNegative: "needs a box or a click on the object",
  selectedPoint: "Point {x}, {y}: {kind}",
  on: "on the object",
  off: "not on it",
  selectedBox: "Box {x0}, {y0} to {x1}, {y1}",
  cross: "Cross at {x}, {y}",
  helpLines: [
    ["Click", "this is on the object"],
    ["Shift or right click", "this is not on it; on a point: turns it around"],
    ["Drag", "a box: a new object, or the box around the active object's points"],
    ["Drag a point, edge or corner", "moves it"],
    ["Where clicks go", "to the active object (thick lines); inside another object's box to that one"],
    ["Escape", "ends the object; the next click begins a new one"],
    ["Delete · Ctrl+Z", "removes the selected thing · undoes"],
    ["Wheel · middle button or Space", "zooms · moves the picture"],
    ["Tab, arrows, P, N, B", "everything without a mouse"],
  ],
};

const de = {
  canvas: "Bild mit der Auswahl",
  keys:
    "Tab und Umschalt+Tab gehen von Ding zu Ding, Pfeiltasten verschieben es (mit Umschalt um 10 Pixel, mit Alt die " +
    "rechte untere Ecke eines Rahmens). Ist nichts gewählt, bewegen die Pfeiltasten ein Fadenkreuz; P setzt dort einen " +
    "Punkt auf das Objekt, N einen daneben, B einen Rahmen. Entf löscht, Escape beginnt ein neues Objekt, Strg+Z nimmt " +
    "zurück, Plus, Minus und 0 zoomen.",
  clicks: "Was ein Klick bedeutet",
  positive: "Klick: auf dem Objekt",
  negative: "Klick: nicht auf dem Objekt (auch Umschalt oder rechte Taste)",
  pan: "Ansicht verschieben (auch mittlere Taste oder Leertaste)",
  undo: "Rückgängig (Strg+Z)",
  redo: "Wiederholen (Strg+Umschalt+Z)",
  add: "Neues Objekt: der nächste Klick beginnt es (Escape)",
  remove: "Gewähltes löschen, sonst das aktive Objekt (Entf)",
  clear: "Zurücksetzen: alles entfernen",
  zoomIn: "Vergrößern (Mausrad, +)",
  zoomOut: "Verkleinern (Mausrad, −)",
  fit: "Ganzes Bild (0)",
  text: "Die Auswahl als Text",
  help: "So wird der Editor bedient",
  apply: "Übernehmen",
  close: "Schließen",
  startAnew: "Neu beginnen",
  noPicture: "Verbinde ein Bild, zum Beispiel aus „Bild laden“.",
  notYet: "Führe den Graphen einmal aus, dann erscheint hier das Bild.",
  loading: "Das Bild wird geladen …",
  broken: "Das Bild kann nicht geladen werden: {url}",
  unread: "Diesen Text kann diese Version nicht lesen. Er bleibt, wie er ist, bis du neu beginnst.",
  unreadTyped: "Diesen Text kann diese Version nicht lesen; nichts wurde geändert.",
  linked: "Die Auswahl kommt über eine Verbindung; löse sie, um hier zu zeichnen.",
  scaled: "Auf {from} gezeichnet, auf {to} umgerechnet.",
  begin: "Klicke auf das Objekt, oder ziehe einen Rahmen darum.",
  next: "Der nächste Klick beginnt Objekt {number}.",
  objectOf: "Objekt {number} von {count}",
  counts: "{positive} darauf, {negative} daneben",
  withBox: "Rahmen {width} × {height}",
  onlyNegative: "braucht einen Rahmen oder einen Klick auf das Objekt",
  selectedPoint: "Punkt {x}, {y}: {kind}",
  on: "auf dem Objekt",
  off: "nicht darauf",
  selectedBox: "Rahmen {x0}, {y0} bis {x1}, {y1}",
  cross: "Fadenkreuz bei {x}, {y}",
  helpLines: [
    ["Klick", "das gehört zum Objekt"],
    ["Umschalt- oder Rechtsklick", "das gehört nicht dazu; auf einem Punkt: dreht ihn um"],
    ["Ziehen", "ein Rahmen: ein neues Objekt, oder der Rahmen um die Punkte des aktiven"],
    ["Punkt, Kante oder Ecke ziehen", "verschiebt sie"],
    ["Wohin Klicks gehören", "zum aktiven Objekt (dicke Linien); im Rahmen eines anderen zu diesem"],
    ["Escape", "schließt das Objekt ab; der nächste Klick beginnt ein neues"],
    ["Entf · Strg+Z", "löscht das Gewählte · nimmt zurück"],
    ["Mausrad · mittlere Taste, Leertaste", "zoomt · verschiebt das Bild"],
    ["Tab, Pfeile, P, N, B", "alles ohne Maus"],
  ],
};

/** The words for a locale as ComfyUI names it ("de", "en", "zh-TW" …). */
export function wordsFor(locale) {
  return String(locale ?? "").toLowerCase().split("-")[0] === "de" ? de : en;
}

/** The text with {names} filled in. */
export function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}
