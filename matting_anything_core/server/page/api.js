// The protocol of the service, as far as the page uses it (docs/service.md).

/** What the service refused, with its own words. status: 0 when nobody answered. */
export class ServiceError extends Error {
  constructor(status, kind, message) {
    super(message);
    this.status = status;
    this.kind = kind;
  }
}

const NOBODY = "The service does not answer. Start it again: matting-anything serve --open";
const NO_TOKEN = "This page was opened without its token, or the service was started anew. "
  + "Open the address that matting-anything serve prints.";

// A page that was opened anew tells the others, whose token went with the service that they were opened by.
const others = new BroadcastChannel("token");
others.onmessage = ({ data }) => sessionStorage.setItem("token", data);

/** The token: from the address, which must not keep it, else what this tab was given before. */
function token() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem("token", given);
    others.postMessage(given);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem("token") ?? "";
}

async function call(method, path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, {
      method, ...options, headers: { Authorization: `Bearer ${token()}`, ...options.headers },
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServiceError(0, "NobodyThere", NOBODY);
  }
  if (answer.ok) return answer;
  const { error } = await answer.json().catch(() => ({ error: { kind: "", message: answer.statusText } }));
  throw new ServiceError(answer.status, error.kind, answer.status === 401 ? NO_TOKEN : error.message);
}

/** What the service is and has. */
export async function status() {
  return (await call("GET", "/v1/status")).json();
}

/** The key of what the page keeps in the browser, base64. */
export async function pageKey() {
  return (await (await call("GET", "/v1/page")).json()).key;
}

/** Upload a picture file of a content type; gives {image, width, height}. */
export async function upload(file, kind, signal) {
  return (await call("POST", "/v1/images", { body: file, headers: { "Content-Type": kind }, signal })).json();
}

/** An uploaded picture as a file that every browser can show. */
export async function picture(image, signal) {
  return call("GET", `/v1/images/${image}/pixels?format=png8`, { signal });
}

/** Matte one prompt; `progress(event)` hears of queue and stages. Aborting the signal cancels it there as well. */
export async function matte(image, prompt, model, progress, signal) {
  const { mattes } = await followed(`/v1/images/${image}/mattes`, { prompts: [prompt], model }, progress, signal);
  return mattes[0];
}

/** Have clean colours made for a matte, which its outputs then have; `progress` and signal as for `matte`. */
export async function colours(matte, progress, signal) {
  await followed(`/v1/mattes/${matte}/foreground`, {}, progress, signal);
}

/** POST what takes a while, and hear how it goes on. */
async function followed(path, content, progress, signal) {
  const answer = await call("POST", path, {
    body: JSON.stringify(content), signal,
    headers: { "Content-Type": "application/json", Accept: "application/x-ndjson" },
  });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        const event = JSON.parse(line);
        if (event.event === "done") return event;
        if (event.event === "error") throw new ServiceError(200, event.kind, event.message);
        progress(event);
      }
    }
  } catch (error) {
    if (error instanceof ServiceError || error.name === "AbortError") throw error;
  }
  throw new ServiceError(0, "NobodyThere", NOBODY);
}

/** One matte of several: ids of mattes, or alphas as `packedAlpha` gives them. */
export async function combined(image, of, signal) {
  return (await call("POST", `/v1/images/${image}/combined`, {
    body: JSON.stringify({ of }), signal, headers: { "Content-Type": "application/json" },
  })).json();
}

/** Whether the service keeps a matte. */
export async function has(matte, signal) {
  return call("GET", `/v1/mattes/${matte}`, { signal }).then(() => true, (error) => {
    if (error.status !== 404) throw error;
    return false;
  });
}

/** An output of a matte: alpha, mask, foreground, cutout or composite. query: format, crop, background … */
export async function pixels(matte, output, query, signal) {
  return call("GET", `/v1/mattes/${matte}/${output}?${new URLSearchParams(query)}`, { signal });
}

/** An alpha as requests carry it. */
export async function packedAlpha({ width, height, packed }) {
  const bytes = new Uint8Array(await packed.arrayBuffer());
  let text = "";
  for (let i = 0; i < bytes.length; i += 0x8000) text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  return { width, height, deflate: btoa(text) };
}
