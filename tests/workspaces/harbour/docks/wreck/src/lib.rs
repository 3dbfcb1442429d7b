compile_error!("no member");
