/** The editor's words in the language that ComfyUI is set to. */
import de from "./words/de.js";
import en from "./words/en.js";
import fr from "./words/fr.js";

const LANGUAGES = { de, en, fr };

/** The words for a locale as ComfyUI names it ("en", "fr", "zh-TW" …); English for a language that is not there. */
export function wordsFor(locale) {
  const language = String(locale ?? "").toLowerCase().split("-")[0];
  return Object.hasOwn(LANGUAGES, language) ? LANGUAGES[language] : en;
}

/** The text with {names} filled in. */
export function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}
