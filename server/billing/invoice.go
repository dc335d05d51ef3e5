package billing

import (
	"context"

	billingv1 "github.com/logicspike/manager/gen/go/logicspike/billing/v1"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/server/billing/document"
	"github.com/logicspike/manager/store"
	"github.com/logicspike/manager/store/billing"
)

// ListInvoices implements InvoiceService.
func (m *Module) ListInvoices(ctx context.Context, req *billingv1.ListInvoicesRequest) (*billingv1.ListInvoicesResponse, error) {
	workspace, err := workspaceID(req.WorkspaceId)
	if err != nil {
		return nil, err
	}
	list, next, err := m.store.ListInvoices(ctx, workspace, statesOfInvoices[req.State], store.Page{Size: int(req.PageSize), Token: req.PageToken})
	if err != nil {
		return nil, err
	}
	return &billingv1.ListInvoicesResponse{Invoices: invoices(list), NextPageToken: next}, nil
}

// GetInvoice implements InvoiceService.
func (m *Module) GetInvoice(ctx context.Context, req *billingv1.GetInvoiceRequest) (*billingv1.GetInvoiceResponse, error) {
	i, err := m.invoice(ctx, req.WorkspaceId, req.InvoiceId)
	if err != nil {
		return nil, err
	}
	return &billingv1.GetInvoiceResponse{Invoice: invoice(i)}, nil
}

// GetUpcomingInvoice implements InvoiceService.
func (m *Module) GetUpcomingInvoice(ctx context.Context, req *billingv1.GetUpcomingInvoiceRequest) (*billingv1.GetUpcomingInvoiceResponse, error) {
	workspace, err := workspaceID(req.WorkspaceId)
	if err != nil {
		return nil, err
	}
	i, err := m.store.GetUpcomingInvoice(ctx, workspace)
	if err != nil || i == nil {
		return &billingv1.GetUpcomingInvoiceResponse{}, err
	}
	return &billingv1.GetUpcomingInvoiceResponse{Invoice: invoice(i)}, nil
}

// RenderInvoice implements InvoiceService.
func (m *Module) RenderInvoice(ctx context.Context, req *billingv1.RenderInvoiceRequest) (*billingv1.RenderInvoiceResponse, error) {
	i, err := m.invoice(ctx, req.WorkspaceId, req.InvoiceId)
	if err != nil {
		return nil, err
	}
	if i.Provider != billing.Manual {
		return nil, fault.New(fault.FailedPrecondition, fault.InvoiceOfProvider, "the invoice is the payment provider's: document_url leads to it")
	}
	res := new(billingv1.RenderInvoiceResponse)
	if req.Format == billingv1.InvoiceFormat_INVOICE_FORMAT_PDF {
		res.ContentType, res.FileName = "application/pdf", document.FileName(i, "pdf")
		res.Content, err = document.PDF(i)
	} else {
		res.ContentType, res.FileName = "text/html; charset=utf-8", document.FileName(i, "html")
		res.Content, err = document.HTML(i)
	}
	return res, err
}

// MarkInvoicePaid implements InvoiceService.
func (m *Module) MarkInvoicePaid(ctx context.Context, req *billingv1.MarkInvoicePaidRequest) (*billingv1.MarkInvoicePaidResponse, error) {
	id, err := invoiceID(req.InvoiceId)
	if err != nil {
		return nil, err
	}
	i, err := m.store.MarkInvoicePaid(ctx, id, store.Operation{Reason: req.Note})
	if err != nil {
		return nil, err
	}
	return &billingv1.MarkInvoicePaidResponse{Invoice: invoice(i)}, nil
}

// VoidInvoice implements InvoiceService.
func (m *Module) VoidInvoice(ctx context.Context, req *billingv1.VoidInvoiceRequest) (*billingv1.VoidInvoiceResponse, error) {
	id, err := invoiceID(req.InvoiceId)
	if err != nil {
		return nil, err
	}
	i, err := m.store.VoidInvoice(ctx, id, store.Operation{Reason: req.Reason})
	if err != nil {
		return nil, err
	}
	return &billingv1.VoidInvoiceResponse{Invoice: invoice(i)}, nil
}

// SearchInvoices implements InvoiceService.
func (m *Module) SearchInvoices(ctx context.Context, req *billingv1.SearchInvoicesRequest) (*billingv1.SearchInvoicesResponse, error) {
	f := billing.InvoiceFilter{Number: req.Number, State: statesOfInvoices[req.State]}
	if req.WorkspaceId != "" {
		var err error
		if f.Workspace, err = workspaceID(req.WorkspaceId); err != nil {
			return nil, err
		}
	}
	list, next, err := m.store.SearchInvoices(ctx, f, store.Page{Size: int(req.PageSize), Token: req.PageToken})
	if err != nil {
		return nil, err
	}
	return &billingv1.SearchInvoicesResponse{Invoices: invoices(list), NextPageToken: next}, nil
}

// invoice returns an invoice of a workspace.
func (m *Module) invoice(ctx context.Context, workspace, id string) (*billing.Invoice, error) {
	w, err := workspaceID(workspace)
	if err != nil {
		return nil, err
	}
	i, err := invoiceID(id)
	if err != nil {
		return nil, err
	}
	return m.store.GetInvoice(ctx, w, i)
}

func invoiceID(s string) (ids.Invoice, error) {
	id, err := ids.Parse[ids.Invoice](s)
	if err != nil {
		return id, fault.Invalid("invoice_id", "is not the id of an invoice")
	}
	return id, nil
}
