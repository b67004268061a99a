// Swagger UI 5 from the npm package swagger-ui-dist, unchanged, see LICENSE and NOTICE beside it.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#docs",
  deepLinking: true,
  displayRequestDuration: true,
  persistAuthorization: false,
  tryItOutEnabled: true,
  validatorUrl: null,
});
