// What the server knows: the state that is shown, and changes to it.
import { say } from "./dom.js";

export const store = { state: null };

const listeners = [];
let lost = false;

/** Call `listener(state)` now and then, whenever the state is another. */
export function onState(listener) {
  listeners.push(listener);
}

function adopt(state) {
  store.state = state;
  for (const listener of listeners) listener(state);
}

/** The JSON that the server answers with; an Error with its sentence where it refuses. */
export async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { credentials: "same-origin", ...options });
  } catch {
    if (!lost) say("The program behind this page has ended. Start mcdist view again and open its new address; everything that was saved is kept.", { bad: true });
    lost = true;
    throw new Error("");
  }
  lost = false;
  const isJson = (response.headers.get("content-type") ?? "").startsWith("application/json");
  const content = isJson ? await response.json() : { error: (await response.text()).trim() };
  if (!response.ok) throw Object.assign(new Error(content.error), { status: response.status, content });
  return content;
}

export async function load() {
  adopt(await ask("/api/state"));
}

/** Change the names. Whoever changed them meanwhile wins, is shown, and the change can be made again. Returns whether it was made. */
export async function change(wanted, { quiet = false } = {}) {
  try {
    const before = store.state.revision;
    const state = await ask("/api/change", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ ...wanted, revision: before }),
    });
    adopt(state);
    if (!quiet && state.revision !== before && state.undo && !["undo", "redo"].includes(wanted.do)) say(`Done: ${state.undo}`);
    return true;
  } catch (error) {
    if (error.status === 409) {
      adopt(error.content.state);
      const again = ["undo", "redo"].includes(wanted.do) ? null : () => change(wanted);
      say("Somebody else changed the names at the same time. You see the newer ones now; your change was not made.", { bad: true, action: again, label: "Make it again" });
    } else if (error.message) say(error.message, { bad: true });
    return false;
  }
}

/** Look for changes of others every few seconds, while somebody looks at the page. */
export function watch() {
  setInterval(async () => {
    if (document.hidden || !store.state) return;
    try {
      const { revision } = await ask("/api/revision");
      if (revision !== store.state.revision) {
        await load();
        say("Somebody else changed the names; you see the newer ones now.");
      }
    } catch { /* said by ask */ }
  }, 3000);
}

export const thumbnail = (object) => `/pictures/objects/${object}?of=${store.state.key}`;

export const titleOf = (card) => card.name || `cluster ${card.id}`;

/** The colour of a cluster's class; nothing without a name. */
export const colourOf = (card) => (card.name ? store.state.colours[card.class_id] : null);

export const cardOf = (cluster) => store.state.clusters.find((card) => card.members.includes(cluster));
