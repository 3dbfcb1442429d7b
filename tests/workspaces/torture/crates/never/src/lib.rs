compile_error!("nobody needs this here");
