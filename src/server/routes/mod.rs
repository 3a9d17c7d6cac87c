//! One file a route. Handlers read a body, make jobs of it and put what comes of them into their dialect.

mod chat;
mod completions;
mod health;
mod models;

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderValue, Uri, header};
use axum::middleware;
use axum::response::Response;
use axum::routing::MethodRouter;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::App;
use super::auth;
use super::browser;
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
    let router = router
        .layer(middleware::from_fn_with_state(app.clone(), auth::check))
        .layer(middleware::from_fn_with_state(app.clone(), browser::check));
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

/// For routes that are not described: aliases of those that are.
#[allow(dead_code)]
fn alias(route: MethodRouter<Arc<App>>, path: &str, router: Router<Arc<App>>) -> Router<Arc<App>> {
    router.route(path, route)
}
