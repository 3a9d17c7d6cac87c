// What the server has: ids of `/v1/models`, and `/props` of those that are looked at.

import { ApiError, get } from "./api.js";
import { NONE, nameOf } from "./columns.js";
import { askKey } from "./dialogs.js";
import { whenThere } from "./status.js";

/** Asks again where a key is missing, or the engine is not there yet. */
async function asked(path) {
  for (;;) {
    try {
      return await get(path);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.needsKey) {
        if (!(await askKey(error.message))) throw error;
      } else if (error.isAway) await whenThere(error.message);
      else throw error;
    }
  }
}

export let ids = [];
const facts = new Map();

/** Reads the ids. */
export async function load() {
  await whenThere();
  ids = (await asked("v1/models")).data.map(({ id }) => id);
}

/** Reads what the server says of a model, once. */
export async function read(model) {
  if (model !== NONE && ids.includes(model) && !facts.has(model)) {
    facts.set(model, await asked(`props?model=${encodeURIComponent(model)}`));
  }
}

/** What was read of a model. */
export const factsOf = (model) => facts.get(model);

export const isSteered = (model) => facts.get(model)?.proxy?.is_steered ?? false;

/** A model's pairs with the α that each has in its recipe, as texts. */
export const planned = (model) =>
  isSteered(model) ? Object.entries(facts.get(model).proxy.pairs).map(([pair, alpha]) => [pair, String(alpha)]) : [];

/** The weights of a recipe in words, where they are more than an α for each pair, and no α is set by hand. */
export function weightsOf(model, alphas) {
  const isSet = pairsOf(model).some((pair) => (alphas[pair] ?? null) !== null);
  return isSet ? null : (facts.get(model)?.proxy?.weights ?? null);
}

export const pairsOf = (model) => planned(model).map(([pair]) => pair);

/** The schedules of a model's pairs where `alphas` are set by hand. */
export const schedules = (model, alphas) => planned(model).map(([pair, alpha]) => [pair, alphas[pair] ?? alpha]);

/** What a column with the model is called. */
export const nameFor = (model) => nameOf(model, isSteered(model));
