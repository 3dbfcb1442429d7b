compile_error!("of another workspace");
