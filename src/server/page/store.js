// Conversations in this browser (IndexedDB). Nothing of them is kept on the server.

const STORE = "conversations";
/** Of exported files; a later format has another. */
export const FORMAT = "proxytune-conversations-1";

let opened = null;

function database() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open("proxytune", 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "id" });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opened;
}

async function run(mode, f) {
  const transaction = (await database()).transaction(STORE, mode);
  const request = f(transaction.objectStore(STORE));
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve(request.result);
    transaction.onerror = () => reject(transaction.error);
    transaction.onabort = () => reject(transaction.error);
  });
}

export const put = (conversation) => run("readwrite", (store) => store.put(conversation));
export const get = (id) => run("readonly", (store) => store.get(id));
export const remove = (id) => run("readwrite", (store) => store.delete(id));

/** All of them, the latest first. */
export async function all() {
  const list = await run("readonly", (store) => store.getAll());
  return list.sort((a, b) => b.updated - a.updated);
}

/** The text of a file for `conversations`. */
export const exported = (conversations) => JSON.stringify({ format: FORMAT, conversations });

/** The conversations of such a file; throws what is wrong with it. */
export function imported(text) {
  let file;
  try {
    file = JSON.parse(text);
  } catch (error) {
    throw new Error(`the file is no JSON: ${error.message}`);
  }
  if (file?.format !== FORMAT || !Array.isArray(file.conversations)) {
    throw new Error(`the file holds no conversations of this page: expected "format": "${FORMAT}"`);
  }
  for (const [i, conversation] of file.conversations.entries()) {
    const fault = faultOf(conversation);
    if (fault) throw new Error(`conversation ${i + 1}: ${fault}`);
  }
  return file.conversations;
}

/** What keeps a conversation from being shown. */
function faultOf(conversation) {
  const { id, title, mode, columns, turns, settings } = conversation ?? {};
  const isText = (value) => typeof value === "string";
  const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
  if (!isText(id) || !isText(title)) return "`id` and `title` have to be texts";
  if (mode !== "text" && mode !== "chat") return '`mode` has to be "text" or "chat"';
  if (!isObject(settings)) return "`settings` has to be an object";
  if (!Array.isArray(columns) || !columns.every((column) => isObject(column) && isText(column.model))) {
    return "`columns` has to be a list of objects with a `model`";
  }
  const isToken = (token) => isObject(token) && isText(token.token) && Number.isInteger(token.id);
  const isAnswer = (answer) =>
    isObject(answer) &&
    isText(answer.text) &&
    Array.isArray(answer.tokens) &&
    answer.tokens.every(isToken) &&
    Array.isArray(answer.changes) &&
    isObject(answer.body);
  const isList = (answers) =>
    answers === null ||
    (Array.isArray(answers?.variants) && answers.variants.every(isAnswer) && Number.isInteger(answers.at));
  const isTurn = (turn) =>
    isObject(turn) && isText(turn.prompt) && Array.isArray(turn.answers) && turn.answers.every(isList);
  return Array.isArray(turns) && turns.every(isTurn) ? null : "`turns` has to be a list of prompts with their answers";
}
