// llama.cpp's "simple" example, steered: what it takes is marked with [steer].
//
//     steer -m base.gguf -e expert.gguf -a antiexpert.gguf -p libproxytune_sampler.so [-n 32] [--alpha 1.0] [prompt]
//
// --chain, --clone, --reset and --cycles N try what a host may do with stages; the text stays the same.

#include <dlfcn.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "llama.h"
#include "proxytune.h"

// [steer] the plugin's functions, found by their names
#define PT_FUNCTIONS(X)                                                                                       \
    X(pt_abi_version) X(pt_version) X(pt_last_error) X(pt_default_params) X(pt_pair_new) X(pt_pair_free)      \
    X(pt_stage_new) X(pt_feed) X(pt_rollback) X(pt_set_alpha) X(pt_status)

#define PT_DECLARE(name) __typeof__(&name) name;
static struct { PT_FUNCTIONS(PT_DECLARE) } pt;

static bool pt_load(const char * path) {
    void * library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        fprintf(stderr, "error: %s\n", dlerror());
        return false;
    }
#define PT_FIND(name)                                                \
    *(void **) &pt.name = dlsym(library, #name);                     \
    if (pt.name == NULL) {                                           \
        fprintf(stderr, "error: %s has no %s\n", path, #name);       \
        return false;                                                \
    }
    PT_FUNCTIONS(PT_FIND)
    if (pt.pt_abi_version() != PT_ABI_VERSION) {
        fprintf(stderr, "error: %s has ABI %u, expected %d\n", path, pt.pt_abi_version(), PT_ABI_VERSION);
        return false;
    }
    return true;
}

// [steer] the base's vocabulary, token by token
static int32_t token_of(void * data, int32_t id, const char ** text, size_t * n_text, int32_t * attr) {
    const struct llama_vocab * vocab = data;
    *text   = llama_vocab_get_text(vocab, id);
    *n_text = strlen(*text);
    *attr   = llama_vocab_get_attr(vocab, id);
    return 0;
}

static void quiet(enum ggml_log_level level, const char * text, void * data) {
    (void) data;
    if (level == GGML_LOG_LEVEL_ERROR) {
        fputs(text, stderr);
    }
}

// stages and clones that come and go
static bool cycle(pt_pair * pair, const llama_token * tokens, size_t n_tokens, int n_cycles) {
    for (int i = 0; i < n_cycles; i++) {
        struct llama_sampler * origin = NULL;
        if (pt.pt_stage_new(pair, &origin) != PT_OK || pt.pt_feed(origin, PT_BOTH, tokens, n_tokens) != PT_OK) {
            return false;
        }
        struct llama_sampler * clone = llama_sampler_clone(origin);
        llama_sampler_accept(clone, tokens[0]);
        if (i % 2 == 0) {
            llama_sampler_reset(origin);
            llama_sampler_accept(origin, tokens[0]);
        }
        // either may be the first to go, and what is left works
        struct llama_sampler * left = i % 4 < 2 ? clone : origin;
        llama_sampler_free(i % 4 < 2 ? origin : clone);
        llama_token_data       data[]     = { { tokens[0], 1.0f, 0.0f }, { tokens[n_tokens - 1], 2.0f, 0.0f } };
        llama_token_data_array candidates = { data, 2, -1, false };
        llama_sampler_apply(left, &candidates);
        const bool ok = pt.pt_status(left) == PT_OK;
        llama_sampler_free(left);
        if (!ok) {
            return false;
        }
    }
    return true;
}

static void usage(const char * name) {
    fprintf(stderr,
            "usage: %s -m base.gguf -e expert.gguf -a antiexpert.gguf -p libproxytune_sampler.so\n"
            "       [-n n_predict] [-t threads] [--alpha alpha] [--chain] [--clone] [--reset] [--cycles n] [prompt]\n",
            name);
    exit(2);
}

static struct llama_model *   model;
static struct llama_context * ctx;
static struct llama_sampler * smpl;
static llama_token *          tokens;
static pt_pair *              pair;
static struct llama_sampler * stage;

int main(int argc, char ** argv) {
    const char * model_path = NULL;
    const char * plugin     = NULL;
    const char * expert     = NULL;
    const char * antiexpert = NULL;
    const char * prompt     = "Once upon a time there was a little girl";
    int          n_predict  = 32;
    int          n_threads  = 1;
    int          n_cycles   = 0;
    float        alpha      = 1.0f;
    bool         in_chain = false, cloned = false, reset = false;

    for (int i = 1; i < argc; i++) {
        const char * arg = argv[i];
        if      (strcmp(arg, "--chain") == 0) { in_chain = true; continue; }
        else if (strcmp(arg, "--clone") == 0) { cloned   = true; continue; }
        else if (strcmp(arg, "--reset") == 0) { reset    = true; continue; }
        else if (arg[0] != '-')               { prompt   = arg;  continue; }
        const char * value = i + 1 < argc ? argv[++i] : NULL;
        if (value == NULL)                    { usage(argv[0]); }
        else if (strcmp(arg, "-m") == 0)      { model_path = value; }
        else if (strcmp(arg, "-e") == 0)      { expert     = value; }
        else if (strcmp(arg, "-a") == 0)      { antiexpert = value; }
        else if (strcmp(arg, "-p") == 0)      { plugin     = value; }
        else if (strcmp(arg, "-n") == 0)      { n_predict  = atoi(value); }
        else if (strcmp(arg, "-t") == 0)      { n_threads  = atoi(value); }
        else if (strcmp(arg, "--cycles") == 0) { n_cycles  = atoi(value); }
        else if (strcmp(arg, "--alpha") == 0) { alpha      = strtof(value, NULL); }
        else                                  { usage(argv[0]); }
    }
    if (model_path == NULL || plugin == NULL || n_predict < 1) {
        usage(argv[0]);
    }

    llama_log_set(quiet, NULL);
    ggml_backend_load_all();
    llama_backend_init();

    struct llama_model_params model_params = llama_model_default_params();
    model_params.n_gpu_layers = 99;
    model = llama_model_load_from_file(model_path, model_params);
    if (model == NULL) {
        fprintf(stderr, "error: unable to load %s\n", model_path);
        return 1;
    }
    const struct llama_vocab * vocab = llama_model_get_vocab(model);

    const int n_prompt = -llama_tokenize(vocab, prompt, (int32_t) strlen(prompt), NULL, 0, true, false);
    tokens = malloc(sizeof(llama_token) * (size_t) n_prompt);
    if (llama_tokenize(vocab, prompt, (int32_t) strlen(prompt), tokens, n_prompt, true, false) < 0) {
        fprintf(stderr, "error: failed to tokenize the prompt\n");
        return 1;
    }

    struct llama_context_params ctx_params = llama_context_default_params();
    ctx_params.n_ctx           = (uint32_t) (n_prompt + n_predict);
    ctx_params.n_batch         = (uint32_t) n_prompt;
    ctx_params.n_threads       = n_threads;
    ctx_params.n_threads_batch = n_threads;
    ctx = llama_init_from_model(model, ctx_params);
    if (ctx == NULL) {
        fprintf(stderr, "error: failed to create the context\n");
        return 1;
    }

    // [steer] the pair, which the plugin runs, and a stage of it
    if (!pt_load(plugin)) {
        return 1;
    }
    pt_params params;
    pt.pt_default_params(&params, sizeof(params));
    params.expert       = expert;
    params.antiexpert   = antiexpert;
    params.alpha        = alpha;
    params.sampler_init = (void *) llama_sampler_init;
    params.n_vocab      = llama_vocab_n_tokens(vocab);
    params.token        = token_of;
    params.token_data   = (void *) vocab;
    params.n_ctx        = n_prompt + n_predict;
    params.n_threads    = n_threads;
    if (pt.pt_pair_new(&params, &pair) != PT_OK || pt.pt_stage_new(pair, &stage) != PT_OK) {
        fprintf(stderr, "error: %s\n", pt.pt_last_error());
        return 1;
    }
    if (!cycle(pair, tokens, (size_t) n_prompt, n_cycles)) {
        fprintf(stderr, "error: %s\n", pt.pt_last_error());
        return 1;
    }
    pt.pt_pair_free(pair); // the stage keeps what it needs
    pair = NULL;

    // [steer] among the chain's samplers
    smpl = llama_sampler_chain_init(llama_sampler_chain_default_params());
    if (in_chain) {
        // none of them changes which token is the best, so the text is the same
        llama_sampler_chain_add(smpl, llama_sampler_init_top_k(llama_vocab_n_tokens(vocab)));
        llama_sampler_chain_add(smpl, stage);
        llama_sampler_chain_add(smpl, llama_sampler_init_min_p(0.05f, 1));
        llama_sampler_chain_add(smpl, llama_sampler_init_temp(0.5f));
    } else {
        llama_sampler_chain_add(smpl, stage);
    }
    llama_sampler_chain_add(smpl, llama_sampler_init_greedy());

    if (reset) {
        // some other text, forgotten
        const llama_token last = tokens[n_prompt - 1];
        for (int i = 0; i < 3; i++) {
            llama_sampler_accept(smpl, last);
        }
        llama_sampler_reset(smpl);
    }

    // [steer] the pair reads the prompt while the base does
    if (pt.pt_feed(stage, PT_BOTH, tokens, (size_t) n_prompt) != PT_OK) {
        fprintf(stderr, "error: %s\n", pt.pt_last_error());
        return 1;
    }

    struct llama_batch batch = llama_batch_get_one(tokens, n_prompt);
    llama_token        token;
    for (int i = 0; i < n_predict; i++) {
        if (llama_decode(ctx, batch) != 0) {
            fprintf(stderr, "error: failed to decode\n");
            return 1;
        }
        if (cloned && i == n_predict / 2) {
            // the clone goes on, in the place of its origin
            int place = 0;
            while (llama_sampler_chain_get(smpl, place) != stage) {
                place++;
            }
            struct llama_sampler * clone = llama_sampler_clone(smpl);
            llama_sampler_free(smpl);
            smpl  = clone;
            stage = llama_sampler_chain_get(smpl, place);
        }
        token = llama_sampler_sample(smpl, ctx, -1);

        // [steer] after every sample, before the token is used
        if (pt.pt_status(stage) != PT_OK) {
            fprintf(stderr, "error: %s\n", pt.pt_last_error());
            return 1;
        }
        if (llama_vocab_is_eog(vocab, token)) {
            break;
        }
        char      piece[256];
        const int n = llama_token_to_piece(vocab, token, piece, sizeof(piece), 0, false);
        if (n < 0) {
            fprintf(stderr, "error: failed to convert a token\n");
            return 1;
        }
        fwrite(piece, 1, (size_t) n, stdout);
        fflush(stdout);
        batch = llama_batch_get_one(&token, 1);
    }

    llama_sampler_free(smpl); // and with it the stage, and with that the pair
    llama_free(ctx);
    llama_model_free(model);
    llama_backend_free();
    free(tokens);
    return 0;
}
