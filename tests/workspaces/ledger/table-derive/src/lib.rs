use proc_macro::TokenStream;

#[proc_macro_derive(Table)]
pub fn table(input: TokenStream) -> TokenStream {
    let input = syn::parse_macro_input!(input as syn::DeriveInput);
    let name = &input.ident;
    let table = name.to_string().to_lowercase();
    quote::quote! { impl #name { const NAME: &'static str = #table; } }.into()
}
