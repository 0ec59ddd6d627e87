//! A refusal as an HTTP response.

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use signaling::protocol::{Code, Refusal};

use crate::rtp::sdp::SdpError;

/// A status and the refusal as JSON body.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    refusal: Refusal,
}

impl Problem {
    /// A refusal under a status of its own.
    pub(super) fn new(status: StatusCode, code: Code, message: &str) -> Self {
        Self { status, refusal: Refusal::new(code).because(message) }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self { status: status(refusal.code), refusal }
    }
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Refusal::new(code).into()
    }
}

impl From<SdpError> for Problem {
    fn from(error: SdpError) -> Self {
        let code = Code::named(error.code()).unwrap_or(Code::SdpInvalid);
        Refusal::new(code).because(error.to_string()).into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let seconds = self.refusal.retry_after_ms.div_ceil(1000);
        let mut response = (self.status, Json(self.refusal)).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, axum::http::HeaderValue::from_static("Bearer"));
        }
        if seconds > 0 {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// The status that tells a client which does not know our codes what to do: sign in (401), give
/// up (403, 404, 410), change the offer (400, 413, 422), come back later (429, 503). Everything
/// that is a matter of the room's present state is a conflict (409): a second publisher, a player
/// before the show.
fn status(code: Code) -> StatusCode {
    match code {
        Code::Unauthenticated | Code::TokenExpired => StatusCode::UNAUTHORIZED,
        Code::Forbidden
        | Code::RoleRequired
        | Code::AdultRequired
        | Code::CaptchaRequired
        | Code::RulesNotAccepted
        | Code::HostOnly
        | Code::Banned
        | Code::Blocked
        | Code::AudienceRestricted
        | Code::RoomSuspended
        | Code::PublishNotGranted => StatusCode::FORBIDDEN,
        Code::NotFound | Code::RoomNotFound | Code::SeatNotFound => StatusCode::NOT_FOUND,
        Code::RoomEnded | Code::GuestEnded => StatusCode::GONE,
        Code::BadRequest | Code::UnknownType | Code::UnsupportedVersion | Code::SdpInvalid => {
            StatusCode::BAD_REQUEST
        }
        Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::CodecUnsupported | Code::SlotsExceeded => StatusCode::UNPROCESSABLE_ENTITY,
        Code::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Code::Overloaded | Code::RoomFull | Code::LimitExceeded => StatusCode::SERVICE_UNAVAILABLE,
        Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::CONFLICT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_an_error_status() {
        for code in Code::ALL {
            let status = status(*code);
            assert!(status.is_client_error() || status.is_server_error(), "{code:?}");
        }
    }

    #[test]
    fn every_sdp_error_has_a_code_of_the_protocol() {
        for error in [SdpError::NoCommonCodec, SdpError::TooManyTracks, SdpError::NoRtcpMux] {
            assert!(Code::named(error.code()).is_some(), "{error:?}");
        }
        assert_eq!(Problem::from(SdpError::NoCommonCodec).status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(Problem::from(SdpError::NoRtcpMux).status, StatusCode::BAD_REQUEST);
    }

    #[test]
    fn headers_that_clients_act_on() {
        let response = Problem::from(Code::Unauthenticated).into_response();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.headers()[WWW_AUTHENTICATE], "Bearer");
        let response = Problem::from(Refusal::overloaded().retry_after(1500)).into_response();
        assert_eq!(response.headers()[RETRY_AFTER], "2");
    }
}
