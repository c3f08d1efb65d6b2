/** The editor's words in the language that ComfyUI is set to. */
import en from "./words/en.js";
import es from "./words/es.js";
import fr from "./words/fr.js";
import ja from "./words/ja.js";
import ko from "./words/ko.js";
import ru from "./words/ru.js";
import zh from "./words/zh.js";

const LANGUAGES = { en, es, fr, ja, ko, ru, zh };

/** The words for a locale as ComfyUI names it ("en", "fr", "zh" …); English for a language that is not there. */
export function wordsFor(locale) {
  const name = String(locale ?? "").toLowerCase();
  const language = name === "zh-tw" ? "en" : name.split("-")[0]; // "zh" is written in simplified characters
  return Object.hasOwn(LANGUAGES, language) ? LANGUAGES[language] : en;
}

/** The text with {names} filled in. */
export function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}
