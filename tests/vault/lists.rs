//! Lists: page by page, each thing once, and tokens that are good for one list only.

use chrono::TimeDelta;
use idvault::proto::{
    ListConsentsRequest, ListTenantsRequest, ListTrainingJobsRequest, RegisterConsentRequest, RevokeTrainingJobRequest,
};
use serde_json::json;

use crate::client::{MODEL_OWNER, OFFICER, OPERATOR, REQUESTER, invalid, refused};
use crate::server::Server;
use crate::world::{Provider, active_job};

#[tokio::test]
async fn every_tenant_and_job_is_on_one_page() {
    let mut server = Server::start().await;
    let client = &server.client.clone();
    for number in 0..6 {
        Provider::new(&format!("tenant-{number}")).create(client).await;
    }
    let mut jobs = Vec::new();
    for _ in 0..5 {
        server.clock.advance(TimeDelta::seconds(1));
        let spec = server.acme.spec(server.clock.now());
        jobs.push(active_job(client, spec).await);
    }
    let revoke = RevokeTrainingJobRequest { name: jobs[1].name.clone(), reason: "a doubt".to_owned() };
    jobs[1] = client.training(OFFICER).revoke_training_job(revoke).await.unwrap().into_inner().training_job.unwrap();

    for size in [1, 2, 3, 7, 8, 0, 5000] {
        let (mut names, mut token) = (Vec::new(), String::new());
        loop {
            let request = ListTenantsRequest { page_size: size, page_token: token };
            let page = client.tenants(OPERATOR).list_tenants(request).await.unwrap().into_inner();
            assert!(size == 0 || page.tenants.len() <= usize::try_from(size).unwrap());
            names.extend(page.tenants.into_iter().map(|tenant| tenant.name));
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        names.sort();
        let wanted = (0..6).map(|number| format!("tenants/tenant-{number}"));
        assert_eq!(names, std::iter::once("tenants/acme".to_owned()).chain(wanted).collect::<Vec<_>>(), "pages of {size}");
    }
    let request = ListTrainingJobsRequest { page_size: 3, page_token: String::new() };
    let first = client.training(MODEL_OWNER).list_training_jobs(request).await.unwrap().into_inner();
    let request = ListTrainingJobsRequest { page_size: 3, page_token: first.next_page_token };
    let second = client.training(REQUESTER).list_training_jobs(request).await.unwrap().into_inner();
    assert_eq!([first.training_jobs, second.training_jobs].concat(), jobs);
    assert_eq!(second.next_page_token, "");
}

#[tokio::test]
async fn consents_are_listed_by_person_and_after_a_restart() {
    let mut server = Server::start().await;
    let rival = Provider::new("rival");
    rival.create(&server.client).await;
    let mut names = Vec::new();
    for subject in ["anna", "ben", "anna"] {
        let mut claims = server.acme.claims(server.clock.now());
        claims["subject_ref"] = json!(subject);
        let request = RegisterConsentRequest { parent: server.acme.name(), receipt: server.acme.sign(&claims) };
        let answer = server.client.consents("tenant/acme").register_consent(request).await.unwrap();
        names.push(answer.into_inner().consent.unwrap().name);
    }
    let receipt = rival.sign(&rival.claims(server.clock.now()));
    let request = RegisterConsentRequest { parent: rival.name(), receipt };
    server.client.consents("tenant/rival").register_consent(request).await.unwrap();
    server = server.restart().await;
    for (subject, wanted) in [("", vec![0, 1, 2]), ("anna", vec![0, 2]), ("ben", vec![1]), ("carl", vec![])] {
        let request =
            ListConsentsRequest { parent: server.acme.name(), subject_ref: subject.to_owned(), ..ListConsentsRequest::default() };
        let page = server.client.consents(OFFICER).list_consents(request).await.unwrap().into_inner();
        let mut found: Vec<_> = page.consents.into_iter().map(|consent| consent.name).collect();
        found.sort();
        let mut wanted: Vec<_> = wanted.into_iter().map(|at: usize| names[at].clone()).collect();
        wanted.sort();
        assert_eq!((found, page.next_page_token), (wanted, String::new()), "{subject}");
    }
    let nobody = ListConsentsRequest { parent: "tenants/nobody".to_owned(), ..ListConsentsRequest::default() };
    refused(server.client.consents(OFFICER).list_consents(nobody).await, tonic::Code::NotFound, "NOT_FOUND");
}

#[tokio::test]
async fn a_token_is_good_for_its_own_list_only() {
    let server = Server::start().await;
    Provider::new("rival").create(&server.client).await;
    let list = |page_token: String| ListTenantsRequest { page_size: 1, page_token };
    let first = server.client.tenants(OPERATOR).list_tenants(list(String::new())).await.unwrap().into_inner();
    let token = first.next_page_token;
    let mut changed = token.clone();
    changed.replace_range(..1, if token.starts_with('A') { "B" } else { "A" });
    for bad in [changed, "x".to_owned(), "AAAA".to_owned(), format!("{token}=")] {
        invalid(server.client.tenants(OPERATOR).list_tenants(list(bad)).await, "page_token");
    }
    let jobs = ListTrainingJobsRequest { page_size: 1, page_token: token };
    invalid(server.client.training(OFFICER).list_training_jobs(jobs).await, "page_token");
}
