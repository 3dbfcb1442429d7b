compile_error!("the build script has removed this file");
