//! One file a route. Handlers read a body, make jobs of it and put what comes of them into their dialect.

mod absent;
mod apply_template;
mod chat;
mod completion;
mod completions;
mod detokenize;
mod errors;
mod health;
mod infill;
mod input_tokens;
mod messages;
mod metrics;
mod models;
mod native;
mod ollama;
mod props;
mod proxy;
mod responses;
mod slots;
mod tokenize;
mod tokenizer_info;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Uri, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::App;
use super::auth;
use super::browser;
use super::error::{Error, ErrorKind};
use super::openapi;
use super::page;

/// Every route with its description.
fn described() -> (Router<Arc<App>>, OpenApi) {
    OpenApiRouter::with_openapi(openapi::base())
        .routes(routes!(health::health))
        .routes(routes!(models::list))
        .routes(routes!(models::one))
        .routes(routes!(chat::create))
        .routes(routes!(completions::create))
        .routes(routes!(proxy::steer))
        .routes(routes!(completion::create))
        .routes(routes!(infill::create))
        .routes(routes!(tokenize::create))
        .routes(routes!(detokenize::create))
        .routes(routes!(apply_template::create))
        .routes(routes!(input_tokens::create))
        .routes(routes!(tokenizer_info::read))
        .routes(routes!(props::read, props::change))
        .routes(routes!(slots::list))
        .routes(routes!(metrics::read))
        .routes(routes!(responses::create))
        .routes(routes!(messages::create))
        .routes(routes!(messages::count_tokens))
        .routes(routes!(ollama::models::version))
        .routes(routes!(ollama::models::tags))
        .routes(routes!(ollama::models::show))
        .routes(routes!(ollama::chat::create))
        .split_for_parts()
}

/// Every route, behind keys and origins.
pub fn router(app: Arc<App>) -> Router {
    let (router, document) = described();
    let router = absent::add(aliases(router))
        .route("/openapi.json", openapi::route(document))
        .fallback(async |uri: Uri| Error::new(ErrorKind::NoSuchPath, format!("there is no {}", uri.path())))
        .method_not_allowed_fallback(async |uri: Uri| {
            Error::new(ErrorKind::WrongMethod, format!("{} is there, but not for this method", uri.path()))
        });
    let router = match app.settings.prefix.as_str() {
        "" => router,
        // `nest` has no route for the prefix with a slash behind it.
        prefix => Router::new().nest(prefix, router).route(&format!("{prefix}/"), get(page::index)),
    };
    let router = router
        .layer(middleware::from_fn_with_state(app.clone(), auth::check))
        .layer(middleware::from_fn_with_state(app.clone(), browser::check))
        .layer(middleware::from_fn_with_state(app.clone(), counted))
        .layer(middleware::from_fn_with_state(app.clone(), errors::translate));
    let router = match app.settings.origins.layer() {
        Some(cors) => router.layer(cors),
        None => router,
    };
    router.layer(middleware::map_response(as_told)).with_state(app)
}

/// A browser takes an answer for what it says it is.
async fn as_told(mut response: Response) -> Response {
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Other paths under which llama-server has what is described.
fn aliases(router: Router<Arc<App>>) -> Router<Arc<App>> {
    router
        .route("/", get(page::index))
        .route("/page/{file}", get(page::file))
        .route("/v1/health", get(health::health))
        .route("/models", get(models::list))
        .route("/chat/completions", post(chat::create))
        .route("/chat/completions/input_tokens", post(input_tokens::create))
        .route("/completions", post(completion::create))
}

/// Counts replies by their statuses.
async fn counted(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    app.metrics.add_reply(response.status().as_u16());
    response
}
