//! One file a route. Handlers read a body, make jobs of it and put what comes of them into their dialect.

mod chat;
mod completions;
mod errors;
mod health;
mod messages;
mod models;
mod ollama;
mod responses;

use std::sync::Arc;

use axum::Router;
use axum::http::Uri;
use axum::middleware;
use axum::routing::MethodRouter;
use tower_http::cors::{AllowOrigin, Any, CorsLayer};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::App;
use super::auth;
use super::error::{Error, ErrorKind};
use super::openapi;
use super::settings::Settings;

/// Every route with its description.
fn described(settings: &Settings) -> (Router<Arc<App>>, OpenApi) {
    let _ = settings;
    OpenApiRouter::with_openapi(openapi::base())
        .routes(routes!(health::health))
        .routes(routes!(models::list))
        .routes(routes!(chat::create))
        .routes(routes!(completions::create))
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
    let (router, document) = described(&app.settings);
    let router = router
        .route("/openapi.json", openapi::route(document))
        .fallback(async |uri: Uri| Error::new(ErrorKind::NoSuchPath, format!("there is no {}", uri.path())))
        .method_not_allowed_fallback(async |uri: Uri| {
            Error::new(ErrorKind::WrongMethod, format!("{} is there, but not for this method", uri.path()))
        });
    let router = match app.settings.prefix.as_str() {
        "" => router,
        prefix => Router::new().nest(prefix, router),
    };
    let router = router.layer(middleware::from_fn_with_state(app.clone(), auth::check));
    let router = router.layer(middleware::from_fn_with_state(app.clone(), errors::translate));
    let router = match cors(&app.settings) {
        Some(cors) => router.layer(cors),
        None => router,
    };
    router.with_state(app)
}

/// Without origins no page of another one may read an answer.
fn cors(settings: &Settings) -> Option<CorsLayer> {
    let origins = &settings.cors_origins;
    let allowed = match origins.as_slice() {
        [] => return None,
        [all] if all == "*" => AllowOrigin::any(),
        some => AllowOrigin::list(some.iter().filter_map(|origin| origin.parse().ok())),
    };
    Some(CorsLayer::new().allow_origin(allowed).allow_methods(Any).allow_headers(Any))
}

/// For routes that are not described: aliases of those that are.
#[allow(dead_code)]
fn alias(route: MethodRouter<Arc<App>>, path: &str, router: Router<Arc<App>>) -> Router<Arc<App>> {
    router.route(path, route)
}
