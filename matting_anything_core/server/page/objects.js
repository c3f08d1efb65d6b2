// The list of objects: choose, name, show and hide, delete.

/** Fill a list element. on: select(id), rename(id, name), show(id, shown), remove(id). */
export function listObjects(list, work, on) {
  const focused = list.contains(document.activeElement) ? document.activeElement : null;
  const { selected } = work.history.value;
  list.replaceChildren(...work.objects.map((object) => {
    const item = document.createElement("li"), name = work.nameOf(object);
    item.classList.toggle("selected", object.id === selected);
    const part = (tag, kind, properties) => {
      const element = Object.assign(document.createElement(tag), properties);
      Object.assign(element.dataset, { id: object.id, part: kind });
      item.append(element);
      return element;
    };
    const chosen = part("input", "select", { type: "radio", name: "object", checked: object.id === selected,
      ariaLabel: `Mark ${name}` });
    chosen.addEventListener("change", () => on.select(object.id));
    const label = part("input", "name", { type: "text", value: name, ariaLabel: `Name of ${name}`, maxLength: 60 });
    label.addEventListener("input", () => on.rename(object.id, label.value.trim()));
    label.addEventListener("focus", () => object.id !== work.history.value.selected && on.select(object.id));
    const shown = part("button", "show", { type: "button", ariaLabel: `Show ${name}`, title: "Show or hide",
      ariaPressed: String(!work.hidden.has(object.id)), textContent: work.hidden.has(object.id) ? "○" : "●" });
    shown.addEventListener("click", () => on.show(object.id, work.hidden.has(object.id)));
    part("button", "remove", { type: "button", ariaLabel: `Delete ${name}`, title: "Delete", textContent: "×" })
      .addEventListener("click", () => on.remove(object.id));
    return item;
  }));
  if (!focused) return;
  const { id, part } = focused.dataset, again = list.querySelector(`[data-id="${id}"][data-part="${part}"]`);
  if (part === "name" && again) { // a name that is being written stays as it is
    const { value, selectionStart, selectionEnd } = focused;
    again.value = value;
    again.setSelectionRange(selectionStart, selectionEnd);
  }
  again?.focus();
}
